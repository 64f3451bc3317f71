#!/bin/sh
# A throw-away CNI plug-in for the tests of the lab: a bridge on each node, addresses 10.244.<node>.<n>, routes between the nodes.
# Each call is noted in $STATE/calls; while $STATE/fail holds a text, ADD fails with it.
set -e
STATE=$(dirname "$0")/state
mkdir -p "$STATE"
node=$(hostname); node=${node#node}
pod=${CNI_ARGS#*K8S_POD_NAMESPACE=}; namespace=${pod%%;*}
pod=${CNI_ARGS#*K8S_POD_NAME=}; pod=${pod%%;*}
echo "$CNI_COMMAND $namespace/$pod $CNI_CONTAINERID" >> "$STATE/calls"
cat > "$STATE/stdin.$CNI_COMMAND"
host=$(echo "$CNI_CONTAINERID" | cut -c1-12)
case $CNI_COMMAND in
ADD)
    if [ -s "$STATE/fail" ]; then
        printf '{"cniVersion": "0.3.1", "code": 11, "msg": "%s", "details": "on purpose"}\n' "$(cat "$STATE/fail")"
        exit 1
    fi
    exec 9> "$STATE/lock"; flock 9
    if ! ip link show cni0 >/dev/null 2>&1; then
        ip link add cni0 type bridge
        ip addr add "10.244.$node.1/24" dev cni0
        ip link set cni0 up
        for other in 1 2 3 4 5; do
            [ $other = $node ] || ip route add "10.244.$other.0/24" via "172.30.0.10$other" 2>/dev/null || true
        done
    fi
    last=$(cat "$STATE/last" 2>/dev/null || echo 1); last=$((last + 1)); echo $last > "$STATE/last"
    ip link add "$host" type veth peer name eth0 netns "$CNI_NETNS" 2>/dev/null ||
        { ip link add "$host" type veth peer name "p$host"; ip link set "p$host" netns "$(basename "$CNI_NETNS")" name eth0; }
    ip link set "$host" master cni0 up
    in_pod="nsenter --net=$CNI_NETNS"
    $in_pod ethtool -K eth0 tx off >/dev/null 2>&1
    $in_pod ip addr add "10.244.$node.$last/24" dev eth0
    $in_pod ip link set eth0 up
    $in_pod ip route add default via "10.244.$node.1"
    printf '{"cniVersion": "0.3.1", "interfaces": [{"name": "eth0", "sandbox": "%s"}], "ips": [{"version": "4", "address": "10.244.%s.%s/24", "gateway": "10.244.%s.1", "interface": 0}]}\n' "$CNI_NETNS" "$node" "$last" "$node"
    ;;
DEL) ip link del "$host" 2>/dev/null || true ;;
esac
