#!/bin/sh
# Runs once inside the node image, over Debian's packages and kind's own files. PAUSE_IMAGE and VERSION are set.
set -eu

chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/* /usr/bin/kube*
find /etc/containerd /etc/default /etc/sysctl.d /etc/systemd/system -type f -exec chmod 644 {} +

# A container is no machine: no units for disks, consoles and udev.
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
for target in multi-user local-fs basic; do rm -f /lib/systemd/system/$target.target.wants/*; done
rm -f /etc/systemd/system/*.wants/* /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl*
echo "ReadKMsg=no" >> /etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl enable kubelet.service containerd.service undo-mount-hacks.service pod-network.service
systemctl mask systemd-binfmt.service

# kind's files expect upstream's places; these programs are Debian's.
mkdir -p /etc/kubernetes/manifests /opt/cni/bin /usr/local/sbin /etc/containerd/certs.d
ln -sf /usr/lib/cni/* /opt/cni/bin/
for program in containerd ctr containerd-shim-runc-v2; do ln -sf /usr/bin/$program /usr/local/bin/$program; done
ln -sf /usr/sbin/runc /usr/local/sbin/runc

ctr oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
    > /etc/containerd/cri-base.json

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no process may lower it.
# device_ownership_from_security_context: block volumes belong to the pod's user.
sed -i "s#sandbox_image = .*#sandbox_image = \"$PAUSE_IMAGE\"#; s/restrict_oom_score_adj = false/restrict_oom_score_adj = true/" \
    /etc/containerd/config.toml
cat >> /etc/containerd/config.toml <<'END'
  device_ownership_from_security_context = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
END

# kind reads these three. Pod network and storage are steps of `up`, so the manifests say nothing.
mkdir -p /kind/manifests
echo "v$VERSION" > /kind/version
for name in default-cni default-storage; do
    printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: local-path-storage}\n' > /kind/manifests/$name.yaml
done
