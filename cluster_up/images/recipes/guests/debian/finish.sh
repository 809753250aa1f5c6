# finish.sh ROOT FILES DISK OFFSET SIZE OUT: turns an installed root into the guest's, writes it as a file system of SIZE
# into the file DISK at OFFSET, and leaves kernel and initrd in OUT. Runs where ROOT's owners are as they will be.
# The same packages give the same bytes: whatever is younger than the newest of them gets its time.
root=$1 files=$2 disk=$3 offset=$4 size=$5 out=$6

umask 022
SOURCE_DATE_EPOCH=$(stat --format=%Y "$root"/var/lib/dpkg/info/*.md5sums | sort -n | tail -n 1)
export SOURCE_DATE_EPOCH
cp -R --no-preserve=mode,ownership "$files/." "$root/"
echo debian > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n' > "$root/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-binfmt.service systemd-networkd-wait-online.service
chroot "$root" passwd --quiet --delete root     # on the serial console; SSH takes keys
# What each guest must make for itself.
rm -f "$root"/etc/ssh/ssh_host_*_key*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"           # a link to the other, made at boot
touch "$root/etc/.updated" "$root/var/.updated"      # nothing to bring up to date at the first boot
chroot "$root" update-initramfs -u -k all
cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
cp "$root"/boot/initrd.img-* "$out/initrd"
# Dates, and what holds inode numbers; the guest makes anew what it misses.
sed -E -i "s/^([^:]*:[^:]*):[0-9]+:/\\1:$((SOURCE_DATE_EPOCH / 86400)):/" "$root/etc/shadow"
rm -f "$root"/etc/passwd- "$root"/etc/shadow- "$root"/etc/group- "$root"/etc/gshadow- "$root"/var/cache/ldconfig/aux-cache
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt "$root"/tmp/*
# The root without what is mounted in it for the installation.
mkdir "$out/plain"
mount --bind "$root" "$out/plain"
trap 'umount "$out/plain"' EXIT
# ROOT's own mke2fs, which heeds SOURCE_DATE_EPOCH (since 1.47.1) and takes names in order.
library=$root/usr/lib/x86_64-linux-gnu
MKE2FS_CONFIG=$root/etc/mke2fs.conf "$library/ld-linux-x86-64.so.2" --library-path "$library" "$root/usr/sbin/mke2fs" \
    -q -t ext4 -L debian -U 00000000-0000-0000-0000-000000000002 -d "$out/plain" \
    -E "offset=$offset,hash_seed=00000000-0000-0000-0000-000000000001" "$disk" "$size"
