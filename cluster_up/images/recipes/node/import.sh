#!/bin/sh
# Fills containerd's store with the control plane's images (/build/images.tar), in a container of the node image.
set -eu
containerd >/tmp/containerd.log 2>&1 &
daemon=$!
tries=0
until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat /tmp/containerd.log >&2; exit 1; }
    sleep 0.2
done
# Not unpacked: each node would carry every image twice. The label keeps the kubelet from collecting them.
ctr -n k8s.io images import --no-unpack /build/images.tar
for image in $(ctr -n k8s.io images ls -q); do
    ctr -n k8s.io images label "$image" io.cri-containerd.pinned=pinned >/dev/null
done
kill $daemon
wait $daemon || true
rm -f /tmp/containerd.log
