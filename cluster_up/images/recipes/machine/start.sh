#!/bin/sh
# First process of a machine's container: gives the container's place on the network to the machine, then becomes QEMU.
# Arguments: QEMU's command; @ADDRESS@ and @GATEWAY@ in it are what the engine gave the container at this start.
set -eu
address=$(ip -o -4 addr show dev eth0 | awk '{print $4; exit}')
gateway=$(ip -4 route | awk '$1 == "default" {print $3; exit}')
echo "machine: $address, gateway $gateway"

ip link add cluster type bridge forward_delay 0
ip tuntap add machine0 mode tap
ip addr flush dev eth0
for link in eth0 machine0; do
    ip link set $link master cluster
    ip link set $link up
done
ip link set cluster up

for word in "$@"; do
    shift
    set -- "$@" "$(printf %s "$word" | sed "s#@ADDRESS@#$address#; s#@GATEWAY@#$gateway#")"
done
exec "$@"
