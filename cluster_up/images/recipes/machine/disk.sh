#!/bin/sh
# Runs in a container of the node image, as root. /work/root has what a machine has beside the node's files; leaves the
# file system /work/disk.img of SIZE. A bind mount of / shows the image without what the engine mounted over it.
set -eu
cp -a /work/root/. /
depmod "$(ls /work/root/usr/lib/modules)"
# A machine has its own product files, so what kind does to hide the host's has nothing to do.
jq 'del(.hooks)' /etc/containerd/cri-base.json > /etc/containerd/cri-base.new
mv /etc/containerd/cri-base.new /etc/containerd/cri-base.json
# Its own id is on the kernel command line; without any this would be a first boot, which switches on all units.
echo 00000000000000000000000000000001 > /etc/machine-id
mkdir -p /tree /var/virt-shared
mount --bind / /tree
truncate -s "$SIZE" /work/disk.img
mkfs.ext4 -q -F -L root -E lazy_itable_init=1,nodiscard -d /tree /work/disk.img
umount /tree
