/* Stands in for SASL, with which libvirt and QEMU's VNC can ask who connects. Their sockets are in a folder of the
 * launcher's own, and neither is told to use it. It brings OpenSSL along, a MiB in each process.
 */
#include "absent.h"

FAILS(sasl_client_init)
FAILS(sasl_client_new)
FAILS(sasl_client_start)
FAILS(sasl_client_step)
FAILS(sasl_server_init)
FAILS(sasl_server_new)
FAILS(sasl_server_start)
FAILS(sasl_server_step)
FAILS(sasl_decode)
FAILS(sasl_encode)
FAILS(sasl_getprop)
FAILS(sasl_setprop)
FAILS(sasl_listmech)
NULLS(sasl_dispose)
NULLS(sasl_errdetail)
NULLS(sasl_errstring)
