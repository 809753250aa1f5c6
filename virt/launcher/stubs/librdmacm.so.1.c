/* Stands in for the connection manager of RDMA, over which QEMU can migrate; ours go through unix sockets. With
 * libibverbs and libnl it is a MiB in every QEMU.
 */
#include "absent.h"

NULLS(rdma_create_event_channel)
NULLS(rdma_destroy_event_channel)
FAILS(rdma_create_id)
FAILS(rdma_destroy_id)
FAILS(rdma_create_qp)
NULLS(rdma_destroy_qp)
FAILS(rdma_accept)
FAILS(rdma_bind_addr)
FAILS(rdma_connect)
FAILS(rdma_disconnect)
FAILS(rdma_listen)
FAILS(rdma_get_cm_event)
FAILS(rdma_ack_cm_event)
NULLS(rdma_event_str)
FAILS(rdma_getaddrinfo)
NULLS(rdma_freeaddrinfo)
FAILS(rdma_resolve_addr)
FAILS(rdma_resolve_route)
FAILS(rdma_set_option)
