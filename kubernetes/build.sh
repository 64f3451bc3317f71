#!/bin/sh
# Builds the lab's real control plane (kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, etcd) from the Go
# module registry into the user's cache; what is already there is not built again. See README.md in this folder.
#
#   kubernetes/build.sh           build what is missing
#   kubernetes/build.sh --print   print the directory that holds (or will hold) the binaries, and build nothing
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# The versions are those that the go.mod files require.
required() { sed -n "s|^\(require\)\{0,1\}[[:space:]]*$2 \(v[0-9][^ ]*\).*|\2|p" "$here/$1/go.mod" | head -n 1; }
kubernetes_version=$(required control-plane k8s.io/kubernetes)
etcd_version=$(required etcd go.etcd.io/etcd/server/v3)
go_needed=$(sed -n 's/^go //p' "$here/control-plane/go.mod")
# Fetched as a Go module when the installed go is too old. Any release from $go_needed on will do.
go_toolchain=go1.26.8

output=${OVNBRIDGE_CACHE:-$HOME/.cache/ovnbridge}/kubernetes/$kubernetes_version
if [ "${1:-}" = --print ]; then
    echo "$output"
    exit 0
fi
mkdir -p "$output"

say() { echo "kubernetes/build.sh: $*"; }
die() { say "$*" >&2; exit 1; }

# present NAME: the binary runs and reports the version that we want.
present() {
    [ -x "$output/$1" ] || return 1
    case $1 in
        etcd) "$output/etcd" --version | grep -qxF "etcd Version: ${etcd_version#v}" ;;
        kubectl) "$output/kubectl" version --client | grep -qxF "Client Version: $kubernetes_version" ;;
        *) "$output/$1" --version | grep -qxF "Kubernetes $kubernetes_version" ;;
    esac
}

missing() {
    for name in etcd kube-apiserver kubectl kube-controller-manager kube-scheduler; do
        present "$name" || echo "$name"
    done
}

# at_least HAVE WANT: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Prints the path of a go command that is new enough. Any go that knows modules can fetch a newer one, because toolchains are
# published as modules (and verified as such); Debian 12's 1.19 does. Only the executable bits get lost in the module's zip.
find_go() {
    installed=$(command -v go) || die "go is not installed (Debian: apt-get install golang-go; any version from 1.19 will do)"
    have=$(cd / && GOTOOLCHAIN=local "$installed" env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
    if at_least "$have" "$go_needed"; then
        echo "$installed"
        return
    fi
    say "go $have is too old (go $go_needed is needed): fetching $go_toolchain as a Go module" >&2
    platform=$("$installed" env GOHOSTOS)-$("$installed" env GOHOSTARCH)
    # Outside a module, so that an old go need not understand our go.mod; -modcacherw because we set bits.
    report=$(cd / && GO111MODULE=on GOFLAGS=-modcacherw GOTOOLCHAIN=local \
        "$installed" mod download -json "golang.org/toolchain@v0.0.1-$go_toolchain.$platform") ||
        die "cannot fetch $go_toolchain: $report; install go $go_needed or newer and run this again"
    root=$(printf '%s\n' "$report" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
    chmod -R u+w "$root/bin" "$root/pkg/tool"
    find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
    [ -x "$root/bin/go" ] || die "$root holds no go command"
    echo "$root/bin/go"
}

# build NAME MODULE-FOLDER PACKAGE LDFLAGS: a binary appears in the output directory complete or not at all.
build() {
    started=$(date +%s)
    say "building $1"
    (cd "$here/$2" && GOWORK=off CGO_ENABLED=0 "$go" build -mod=readonly -trimpath -buildvcs=false -tags grpcnotrace \
        -ldflags "-s -w $4" -o "$output/.$1.$$" "$3") || { rm -f "$output/.$1.$$"; die "cannot build $1"; }
    mv "$output/.$1.$$" "$output/$1"
    present "$1" || die "$output/$1 does not report the version that go.mod requires"
    say "built $1 in $(($(date +%s) - started)) s"
}

# Two runs at once: the second waits, and then finds everything built.
exec 9>"$output/.lock"
flock 9

todo=$(missing)
if [ -z "$todo" ]; then
    say "nothing to build: Kubernetes $kubernetes_version and etcd $etcd_version are in $output"
    exit 0
fi

go=$(find_go)
# A GOROOT that somebody exported belongs to the installed go.
[ "$go" = "$(command -v go)" ] || unset GOROOT
number=${kubernetes_version#v}
major=${number%%.*}
minor=${number#*.}
minor=${minor%%.*}
flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags="$flags -X $package.gitVersion=$kubernetes_version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    flags="$flags -X $package.gitTreeState=clean"
done
for name in $todo; do
    case $name in
        etcd) build etcd etcd go.etcd.io/etcd/server/v3 "" ;;
        *) build "$name" control-plane "k8s.io/kubernetes/cmd/$name" "$flags" ;;
    esac
done
say "Kubernetes $kubernetes_version and etcd $etcd_version are in $output"
