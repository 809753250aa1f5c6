/* Stands in for libssh, which reaches a libvirt on another machine; a launcher talks to its own, through a socket.
 *
 * With libssh2, curl and SASL it brings 25 libraries along, OpenSSL and Kerberos among them: 2.2 MiB in each process that
 * has libvirt loaded, in the launcher's Python and in the daemon. ssh_init fails, which libvirt reports.
 */
#include "absent.h"

FAILS(ssh_init)
NULLS(ssh_new)
NULLS(ssh_free)
FAILS(ssh_connect)
NULLS(ssh_disconnect)
NULLS(ssh_get_error)
NULLS(ssh_get_hexa)
NULLS(ssh_set_blocking)
FAILS(ssh_set_log_level)
FAILS(ssh_options_set)
FAILS(ssh_options_parse_config)
NULLS(ssh_string_free_char)
FAILS(ssh_session_is_known_server)
FAILS(ssh_session_update_known_hosts)

NULLS(ssh_channel_new)
NULLS(ssh_channel_free)
FAILS(ssh_channel_close)
FAILS(ssh_channel_get_exit_state)
FAILS(ssh_channel_is_eof)
FAILS(ssh_channel_open_session)
FAILS(ssh_channel_read_nonblocking)
FAILS(ssh_channel_request_exec)
FAILS(ssh_channel_send_eof)
NULLS(ssh_channel_set_blocking)
FAILS(ssh_channel_write)

NULLS(ssh_key_free)
NULLS(ssh_clean_pubkey_hash)
FAILS(ssh_get_publickey_hash)
FAILS(ssh_get_server_publickey)
FAILS(ssh_pki_export_privkey_to_pubkey)
FAILS(ssh_pki_import_privkey_file)
FAILS(ssh_pki_import_pubkey_file)

FAILS(ssh_userauth_agent)
FAILS(ssh_userauth_list)
FAILS(ssh_userauth_none)
FAILS(ssh_userauth_password)
FAILS(ssh_userauth_publickey)
FAILS(ssh_userauth_try_publickey)
FAILS(ssh_userauth_kbdint)
NULLS(ssh_userauth_kbdint_getinstruction)
NULLS(ssh_userauth_kbdint_getname)
FAILS(ssh_userauth_kbdint_getnprompts)
NULLS(ssh_userauth_kbdint_getprompt)
FAILS(ssh_userauth_kbdint_setanswer)
