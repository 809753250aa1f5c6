"""Names that several components share: labels, annotations, finalizers, ports, users, folders, extended resources.

Those of the KubeVirt API are fixed by its clients; the folders are drawn in docs/architecture.md.
"""

from typing import Final

KUBEVIRT_USER: Final = 107                # uid and gid of every process in a launcher pod
API_PORT: Final = 8443                    # virt-api, and /metrics of every component
HANDLER_PORT: Final = 8186                # virt-handler, for virt-api
INSTALL_NAMESPACE: Final = "kubevirt"     # where the KubeVirt CR and the components live, unless told otherwise
GROUP: Final = "kubevirt.io"
SUBRESOURCE_GROUP: Final = "subresources.kubevirt.io"
SUBRESOURCE_VERSIONS: Final = ("v1", "v1alpha3")
SUBPROTOCOL: Final = "plain.kubevirt.io"

API_ACCOUNT: Final = "kubevirt-apiserver"
CONTROLLER_ACCOUNT: Final = "kubevirt-controller"
HANDLER_ACCOUNT: Final = "kubevirt-handler"
OPERATOR_ACCOUNT: Final = "kubevirt-operator"
API_SERVICE: Final = "virt-api"
OPERATOR_SERVICE: Final = "kubevirt-operator-webhook"

# --- labels ---

APP_LABEL: Final = "kubevirt.io"                                  # on pods: virt-launcher, virt-api, virt-handler ...
LAUNCHER: Final = "virt-launcher"                                 # its value on launcher pods
HOTPLUG_DISK: Final = "hotplug-disk"                              # and on pods that mount hot-plugged claims
HANDLER: Final = "virt-handler"
GUEST_PODS_SELECTOR: Final = f"{APP_LABEL} in ({LAUNCHER},{HOTPLUG_DISK})"
CREATED_BY_LABEL: Final = "kubevirt.io/created-by"                # pod: uid of the VMI
VM_NAME_LABEL: Final = "vm.kubevirt.io/name"
VMI_ID_LABEL: Final = "vmi.kubevirt.io/id"
NODE_NAME_LABEL: Final = "kubevirt.io/nodeName"                   # VMI: where it runs
MIGRATION_TARGET_NODE_LABEL: Final = "kubevirt.io/migrationTargetNodeName"
MIGRATION_JOB_UID_LABEL: Final = "kubevirt.io/migrationJobUID"
MIGRATION_VMI_LABEL: Final = "kubevirt.io/vmi-name"               # migration: its VMI
OUTDATED_LABEL: Final = "kubevirt.io/outdatedLauncherImage"       # VMI: its launcher is of another image than new ones
VOLUME_UPDATE_LABEL: Final = "kubevirt.io/volume-update-migration"      # migration: it brings its VMI to other claims
INSTALL_STRATEGY_LABEL: Final = "kubevirt.io/install-strategy"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "virt-operator"

SCHEDULABLE_LABEL: Final = "kubevirt.io/schedulable"              # node: "true" while its handler is alive
KVM_LABEL: Final = "virt.kubevirt.io/kvm"                         # node: "true" where guests run on KVM
CPU_MODEL_LABEL_PREFIX: Final = "cpu-model.node.kubevirt.io/"
CPU_MODEL_MIGRATION_LABEL_PREFIX: Final = "cpu-model-migration.node.kubevirt.io/"
EMULATED_CPU_MODEL: Final = "Nehalem"         # all of its features are in TCG; "max" is slower
HOST_MODEL_LABEL_PREFIX: Final = "host-model-cpu.node.kubevirt.io/"
HOST_MODEL_FEATURE_LABEL_PREFIX: Final = "host-model-required-features.node.kubevirt.io/"
CPU_FEATURE_LABEL_PREFIX: Final = "cpu-feature.node.kubevirt.io/"
CPU_VENDOR_LABEL_PREFIX: Final = "cpu-vendor.node.kubevirt.io/"
MACHINE_TYPE_LABEL_PREFIX: Final = "machine-type.node.kubevirt.io/"
OBSOLETE_HOST_MODEL_LABEL: Final = "node-labeller.kubevirt.io/obsolete-host-model"

# Set by the components only; the webhook refuses them from anybody else.
RESERVED_LABELS: Final = (
    CREATED_BY_LABEL, MIGRATION_JOB_UID_LABEL, NODE_NAME_LABEL, MIGRATION_TARGET_NODE_LABEL, SCHEDULABLE_LABEL,
    INSTALL_STRATEGY_LABEL,
)

# --- annotations ---

DOMAIN_ANNOTATION: Final = "kubevirt.io/domain"
DEFAULT_CONTAINER_ANNOTATION: Final = "kubectl.kubernetes.io/default-container"
MIGRATION_TRANSPORT_ANNOTATION: Final = "kubevirt.io/migrationTransportUnix"
EVICT_ONLY_ANNOTATION: Final = "descheduler.alpha.kubernetes.io/request-evict-only"
MIGRATION_JOB_NAME_ANNOTATION: Final = "kubevirt.io/migrationJobName"
# With these on a VMI KubeVirt's own suite holds its migrations up, and so does ours.
FAIL_MIGRATION_ANNOTATION: Final = "kubevirt.io/func-test-force-launcher-migration-failure"
BLOCK_TARGET_ANNOTATION: Final = "kubevirt.io/func-test-block-migration-target-preparation"
FAIL_FAST_ANNOTATION: Final = "kubevirt.io/func-test-virt-launcher-fail-fast"
# The same, on a migration: another image for the launcher of its target.
TARGET_IMAGE_ANNOTATION: Final = "kubevirt.io/func-test-migration-target-image-override"
EVICTION_SOURCE_ANNOTATION: Final = "kubevirt.io/eviction-source"  # VMI: who asked to evict its pod, when it is known
EVACUATION_MIGRATION_ANNOTATION: Final = "kubevirt.io/evacuationMigration"
WORKLOAD_UPDATE_ANNOTATION: Final = "kubevirt.io/workloadUpdateMigration"
ABORTION_ANNOTATION: Final = "kubevirt.io/workloadUpdateMigrationAbortion"    # VMI: none of those, from now on
VM_GENERATION_ANNOTATION: Final = "kubevirt.io/vm-generation"
PCI_TOPOLOGY_ANNOTATION: Final = "kubevirt.io/pci-topology-version"
HEARTBEAT_ANNOTATION: Final = "kubevirt.io/heartbeat"             # node: RFC 3339 time of the last sign of life
SKIP_NODE_LABELLER_ANNOTATION: Final = "node-labeller.kubevirt.io/skip-node"

# --- finalizers ---

VMI_FINALIZER: Final = "kubevirt.io/foregroundDeleteVirtualMachine"
VM_CONTROLLER_FINALIZER: Final = "kubevirt.io/virtualMachineControllerFinalize"
MIGRATION_FINALIZER: Final = "kubevirt.io/migrationJobFinalize"
OPERATOR_FINALIZER: Final = "kubevirt.io/virtOperatorFinalizer"

# --- conditions ---

UNPAUSED_READINESS_GATE: Final = "kubevirt.io/virtual-machine-unpaused"

# --- extended resources ---

KVM_RESOURCE: Final = "devices.kubevirt.io/kvm"
TUN_RESOURCE: Final = "devices.kubevirt.io/tun"
USERFAULTFD_RESOURCE: Final = "devices.kubevirt.io/userfaultfd"      # of targets of migrations with post-copy
CONTAINER_DISK_RESOURCE: Final = "devices.kubevirt.io/container-disk"
FAIL_FAST_VARIABLE: Final = "VIRT_LAUNCHER_FAIL_FAST"             # a launcher with it ends at once
COMPUTE_CONTAINER: Final = "compute"
PCI_VARIABLE: Final = "PCI_RESOURCE"      # with device_variable: what device plugins tell of permittedHostDevices
MDEV_VARIABLE: Final = "MDEV_PCI_RESOURCE"
USB_VARIABLE: Final = "USB_RESOURCE"
NETWORK_VARIABLE: Final = "PCIDEVICE"     # the same, of the SR-IOV network device plugin

# --- folders and sockets: node and handler ---

NODE_DIR: Final = "/var/run/kubevirt"
HANDLER_CAPABILITIES_DIR: Final = "/var/run/kubevirt-capabilities"       # libvirt's cache about QEMU, in its pod
IMAGE_BIN_DIR: Final = "/usr/lib/virt"                            # static helpers in the handler's image

# --- folders and sockets: launcher pod ---

LAUNCHER_HANDLER_DIR: Final = "/var/run/kubevirt-handler"
LAUNCHER_CAPABILITIES_DIR: Final = f"{LAUNCHER_HANDLER_DIR}/capabilities"
LAUNCHER_HANDLER_SOCKET: Final = f"{LAUNCHER_HANDLER_DIR}/handler.sock"
CONTAINER_DISK_HELPER: Final = "/usr/lib/virt/bin/container-disk"
PRIVATE_DIR: Final = "/var/run/kubevirt-private"
VMI_DISKS_DIR: Final = f"{PRIVATE_DIR}/vmi-disks"
PUBLIC_DIR: Final = "/var/run/kubevirt"
CONTAINER_DISKS_DIR: Final = f"{PUBLIC_DIR}/container-disks"
HOTPLUG_DISKS_DIR: Final = f"{PUBLIC_DIR}/hotplug-disks"           # <volume>: a link to the claim's folder
ATTACHMENT_DIR: Final = "hotplug"                                 # attachment pod: /hotplug/<volume>, a claim's folder
ATTACHMENT_PREFIX: Final = "hp-volume-"                           # of its name
KERNEL_BOOT_VOLUME: Final = "kernel-boot"                         # of the kernelBoot container, in CONTAINER_DISKS_DIR
SECRETS_DIR: Final = f"{PRIVATE_DIR}/secret"                      # <volume>/{user,network}/: keys userdata, networkdata
CONFIG_DIR: Final = f"{PRIVATE_DIR}/config"                       # <volume>/: files of configMap, secret and the like
USER_SECRET: Final = "user"
NETWORK_SECRET: Final = "network"
LAUNCHER_ALIVE_LOCK: Final = f"{PRIVATE_DIR}/alive"               # the launcher holds its lock as long as it lives
LOG_TAIL_HELPER: Final = f"{IMAGE_BIN_DIR}/log-tail"              # in the launcher's image too
LAUNCHER_INIT_HELPER: Final = f"{IMAGE_BIN_DIR}/launcher-init"
PROBE_HELPER: Final = f"{IMAGE_BIN_DIR}/virt-probe"
PROBE_SOCKET: Final = f"{PRIVATE_DIR}/probe.sock"                 # the launcher answers probes of the guest's agent
EPHEMERAL_DISKS_DIR: Final = "/var/run/kubevirt-ephemeral-disks"
LIBVIRT_DIR: Final = "/var/run/libvirt"
EMPTY_DISKS_DIR: Final = f"{LIBVIRT_DIR}/empty-disks"
LIBVIRT_SOCKET: Final = f"{LIBVIRT_DIR}/virtqemud-sock"
MIGRATION_DIR: Final = f"{LIBVIRT_DIR}/migration"

# --- certificates ---

CERTS_DIR: Final = "/etc/virt/certs"                              # <secret name>/{tls.crt,tls.key}
API_CERTS: Final = "kubevirt-virt-api-certs"
HANDLER_CERTS: Final = "kubevirt-virt-handler-server-certs"
HANDLER_CLIENT_CERTS: Final = "kubevirt-virt-handler-certs"       # what virt-api shows to handlers
HANDLER_NAME: Final = "kubevirt.io:system:node:virt-handler"      # common names of these two
HANDLER_CLIENT_NAME: Final = "kubevirt.io:system:client:virt-handler"
MIGRATION_CERTS: Final = "kubevirt-virt-handler-migration-client-certs"  # what a handler shows to another one
MIGRATION_CLIENT_NAME: Final = "kubevirt.io:system:client:migration"
CA_FILE: Final = "/etc/virt/ca/ca-bundle"
CA_CONFIG_MAP: Final = "kubevirt-ca"
CA_KEY: Final = "ca-bundle"


def account(namespace: str, name: str) -> str:
    """The user name of a service account, as admission and authorization see it."""
    return f"system:serviceaccount:{namespace}:{name}"


def component_accounts(namespace: str) -> frozenset[str]:
    """User names that may write what only the components may: status and spec of VMIs, reserved labels."""
    return frozenset(account(namespace, name) for name in (API_ACCOUNT, CONTROLLER_ACCOUNT, HANDLER_ACCOUNT))


def device_variable(prefix: str, resource: str) -> str:
    """The environment variable with the addresses of a container's devices of ``resource``.

    >>> device_variable(PCI_VARIABLE, "example.com/nic-x")
    'PCI_RESOURCE_EXAMPLE_COM_NIC-X'
    """
    return f"{prefix}_{resource.upper().replace('/', '_').replace('.', '_')}"


def hostname(vmi_name: str, asked: str = "") -> str:
    """What a guest and its pod are called: ``asked`` by the VMI's spec, else the first label of the VMI's name.

    >>> hostname("web.shop"), hostname("web", "given")
    ('web', 'given')
    """
    return asked or vmi_name.partition(".")[0][:63].rstrip("-")


def domain_name(namespace: str, name: str) -> str:
    """libvirt's name of a VMI's domain."""
    return f"{namespace}_{name}"


def serial_socket(vmi_uid: str) -> str:
    """QEMU's socket of serial port 0, in the launcher; its transcript is beside it with ``-log`` at the end."""
    return f"{PRIVATE_DIR}/{vmi_uid}/virt-serial0"


def vnc_socket(vmi_uid: str) -> str:
    """QEMU's VNC socket, in the launcher."""
    return f"{PRIVATE_DIR}/{vmi_uid}/virt-vnc"


def serial_log(vmi_uid: str) -> str:
    """The transcript of serial port 0, in the launcher."""
    return f"{serial_socket(vmi_uid)}-log"


def migration_socket(port: int) -> str:
    """A port of a migration, in both launchers: QEMU listens on it in the target, the launcher in the source."""
    return f"{MIGRATION_DIR}/{port}.sock"


def container_disk_socket(volume: str) -> str:
    """Where the helper in a disk container listens, in both containers."""
    return f"{CONTAINER_DISKS_DIR}/{volume}/disk.sock"
