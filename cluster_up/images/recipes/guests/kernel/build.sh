# build.sh ROOT RECIPE OUT: compile the kernel in ROOT, where compiler and source are, with RECIPE/config; leaves vmlinux,
# vmlinuz and config in OUT. The same source and compiler give the same bytes.
root=$1 recipe=$2 out=$3

cp "$recipe/config" "$root/tmp/wanted"
chroot "$root" sh -eu <<'EOS'
source=$(echo /usr/src/linux-source-*.tar.xz)
export LC_ALL=C KBUILD_BUILD_USER=tiny KBUILD_BUILD_HOST=tiny KBUILD_BUILD_VERSION=1
KBUILD_BUILD_TIMESTAMP=$(date -u -r "$source")
export KBUILD_BUILD_TIMESTAMP
mkdir /tmp/linux
cd /tmp/linux
tar --extract --strip-components=1 --file "$source"
make --silent allnoconfig KCONFIG_ALLCONFIG=/tmp/wanted
if grep '^CONFIG' /tmp/wanted | grep -vxFf .config >&2; then
    echo "these lines of the kernel's configuration did not come true" >&2
    exit 1
fi
make --silent --jobs="$(nproc)" bzImage
EOS
cp "$root/tmp/linux/vmlinux" "$out/vmlinux"
cp "$root/tmp/linux/arch/x86/boot/bzImage" "$out/vmlinuz"
cp "$root/tmp/linux/.config" "$out/config"
