/* Stands in for libpmem, with which QEMU writes to persistent memory (pmem=on of a memory backend). No domain that a
 * launcher makes has such memory. It brings along what manages it, with OpenSSL at the end.
 */
#include <stdlib.h>

/* What is not written must not look written. */
void pmem_persist(void) { abort(); }
void *pmem_memcpy_persist(void) { abort(); }
