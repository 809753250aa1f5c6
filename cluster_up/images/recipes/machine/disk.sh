#!/bin/sh
# Runs in a container of the node image, as root; /var/lib/containerd is a volume, since overlays do not lie on overlays.
# /work/root has what a machine has beside the node's files, /work/images.tar images that it unpacks before it is slow.
# Leaves the file system /work/disk.img of SIZE.
set -eu
cp -a /work/root/. /
depmod "$(ls /work/root/usr/lib/modules)"
# A machine has its own product files, so what kind does to hide the host's has nothing to do.
jq 'del(.hooks)' /etc/containerd/cri-base.json > /etc/containerd/cri-base.new
mv /etc/containerd/cri-base.new /etc/containerd/cri-base.json
# The engine's mark: systemd would take the machine for a container, and then it cannot be switched off from inside.
rm -f /.dockerenv
# Its own id is on the kernel command line; without any this would be a first boot, which switches on all units.
echo 00000000000000000000000000000001 > /etc/machine-id

containerd >/tmp/containerd.log 2>&1 &
daemon=$!
tries=0
until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat /tmp/containerd.log >&2; exit 1; }
    sleep 0.2
done
ctr -n k8s.io images ls | awk '$1 ~ /\/(pause|kube-proxy):/ {print $3}' | while read -r digest; do
    ctr -n k8s.io snapshots unpack "$digest" >/dev/null
done
[ ! -e /work/images.tar ] || ctr -n k8s.io images import /work/images.tar >/dev/null
kill $daemon
wait $daemon || true
rm -f /tmp/containerd.log

# A bind mount shows the image without what the engine mounted over it.
mkdir -p /tree /var/virt-shared
mount --bind / /tree
mount --bind /var/lib/containerd /tree/var/lib/containerd
truncate -s "$SIZE" /work/disk.img
mkfs.ext4 -q -F -L root -E lazy_itable_init=1,nodiscard -d /tree /work/disk.img
umount /tree/var/lib/containerd /tree
