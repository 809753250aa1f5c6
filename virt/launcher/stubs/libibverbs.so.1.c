/* Stands in for the verbs of RDMA, for the same reason as librdmacm. It finds no device. */
#include "absent.h"

NULLS(ibv_get_device_list)
NULLS(ibv_open_device)
FAILS(ibv_close_device)
FAILS(ibv_query_device)
FAILS(ibv_query_port)
NULLS(ibv_alloc_pd)
FAILS(ibv_dealloc_pd)
NULLS(ibv_reg_mr)
FAILS(ibv_dereg_mr)
NULLS(ibv_create_cq)
FAILS(ibv_destroy_cq)
NULLS(ibv_create_comp_channel)
FAILS(ibv_destroy_comp_channel)
FAILS(ibv_get_cq_event)
NULLS(ibv_ack_cq_events)
