#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# arm64 — a build for 64-bit ARM in build-arm64, made on another machine; qemu runs its tests.
#
# The libraries' arm64 packages are unpacked into build-arm64-root, by an apt with folders of its own:
# the system's packages, and its list of architectures, stay as they are. Needs a Debian or Ubuntu
# with gcc-aarch64-linux-gnu and qemu-user; no root. Exits with 77 where apt finds no such packages.
#
# usage: tools/arm64.sh PACKAGE..      (./dev has the list)
set -eu
cd "$(dirname "$0")/.."
root=$PWD/build-arm64-root

# apt reads APT_CONFIG, then the system's apt.conf.d, then Dir::Etc::main, where ours are final.
apt_files() {
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial"
    : >"$1/state/status"
    echo "Dir::Etc::main \"$1/main.conf\";" >"$1/apt.conf"
    cat >"$1/main.conf" <<TXT
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State "$1/state";
Dir::State::status "$1/state/status";
Dir::Cache "$1/cache";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
TXT
}

fetch() {
    apt=$root/apt
    apt_files "$apt"
    APT_CONFIG=$apt/apt.conf apt-get update -qq || return 77
    APT_CONFIG=$apt/apt.conf apt-get install -qq -y --download-only libc6-dev "$@" || return 77
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root" || return 1; done
    rm -rf "$apt"
}

cross_file() {
    cat <<TXT
[binaries]
c = ['aarch64-linux-gnu-gcc', '--sysroot=$root']
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$root']

[built-in options]
c_link_args = ['-Wl,-rpath-link=$root/usr/lib/aarch64-linux-gnu:$root/lib/aarch64-linux-gnu']

[properties]
sys_root = '$root'
pkg_config_libdir = '$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig'

[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
TXT
}

if [ ! -f "$root/complete" ]; then
    rm -rf "$root"
    mkdir -p "$root"
    result=0
    fetch "$@" || result=$?
    [ "$result" = 0 ] || { echo 'apt could not get the arm64 packages' && exit "$result"; }
    cross_file >"$root/cross.ini"
    : >"$root/complete"
fi
[ -f build-arm64/build.ninja ] ||
    meson setup build-arm64 --cross-file "$root/cross.ini" -Dwerror=true -Dmpi=disabled
ninja -C build-arm64
