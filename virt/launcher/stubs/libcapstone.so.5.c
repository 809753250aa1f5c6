/* Stands in for Capstone, QEMU's disassembler: its tables of pointers, relocated at load, are 3.3 MiB in every QEMU.
 *
 * QEMU disassembles only for its debug log and the monitor's x/i, and says so itself when cs_open fails. These are all
 * the functions that it links to; the image's build starts QEMU once, so one that is missing is found there.
 */
#include <stddef.h>

enum { CS_ERR_ARCH = 3 };               /* "unsupported architecture" */

int cs_open(int arch, int mode, size_t *handle)
{
    (void)arch, (void)mode;
    *handle = 0;
    return CS_ERR_ARCH;
}

int cs_close(size_t *handle)
{
    *handle = 0;
    return 0;
}

int cs_option(size_t handle, int type, size_t value)
{
    (void)handle, (void)type, (void)value;
    return CS_ERR_ARCH;
}

void *cs_malloc(size_t handle)
{
    (void)handle;
    return NULL;
}

_Bool cs_disasm_iter(size_t handle, const unsigned char **code, size_t *size, unsigned long long *address, void *into)
{
    (void)handle, (void)code, (void)size, (void)address, (void)into;
    return 0;
}
