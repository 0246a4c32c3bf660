#!/bin/bash
# Build and try the images where there is no container engine and no image registry (as root, on
# Debian 12 with `apt-get install buildah crun debootstrap`): debootstrap makes the base image,
# buildah runs the Dockerfile's steps in chroots. FOLDER needs some 15 GB.
#   deploy/rehearse.sh FOLDER [cpu] [gpu] [orthanc]
set -euo pipefail
folder=$(realpath -m "$1") && shift
targets=("${@:-cpu}")
repository=$(realpath "$(dirname "$0")/..")
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
buildah() { command buildah --root "$folder/storage" --runroot "$folder/run" "$@"; }

mkdir -p "$folder"
[ -e "$folder/debian.tar" ] || {
  debootstrap --variant=minbase bookworm "$folder/debian" >"$folder/debootstrap.log"
  tar -C "$folder/debian" -cf "$folder/debian.tar" . && rm -rf "$folder/debian"
}
base=$(buildah from scratch)
buildah add -q "$base" "$folder/debian.tar" /
buildah commit -q --rm "$base" localhost/debian:bookworm

# Where a proxy looks into TLS, its authority is known to this machine and has to be known there.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$folder/pip.conf"
for target in "${targets[@]}"; do
  buildah bud -q --format docker --target "$target" -t "localhost/lumbar:$target" \
    -f "$repository/deploy/Dockerfile" --ignorefile "$repository/deploy/Dockerfile.dockerignore" \
    --build-arg DEBIAN=localhost/debian:bookworm \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro \
    --volume "$folder/pip.conf:/etc/pip.conf:ro" "$repository"
done
buildah images

# The node as the images run it: without root, without capabilities, on a root that cannot be written.
for target in "${targets[@]}"; do
  [ "$target" = orthanc ] && continue
  container=$(buildah from "localhost/lumbar:$target")
  root=$(buildah mount "$container") unshare --mount --pid --fork bash -euo pipefail -c '
    mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
    mount -t tmpfs tmpfs "$root/tmp" && mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$root/data"
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
    inside() {
      env -i PATH=/opt/lumbar/bin:/usr/sbin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 HOME=/data \
        LUMBAR_DATA_DIR=/data LUMBAR_WEB__VIEWER_DIR=/opt/ohif LUMBAR_WEB__PORT=18080 \
        LUMBAR_LISTEN__PORT=21112 LUMBAR_LISTEN__MIN_FREE_MB=100 \
        chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all \
        --inh-caps=-all --no-new-privs "$@"
    }
    echo "$(grep -c "\"purl\"" "$root/opt/lumbar/sbom.json") packages in the SBOM"
    inside touch /etc/written 2>/dev/null && { echo "the root can be written"; exit 1; }
    inside lumbar-node doctor || true # one fault is right here: there is no destination
    inside lumbar-node serve &
    for _ in $(seq 60); do
      inside python -c "import urllib.request as u; u.urlopen(\"http://127.0.0.1:18080/healthz\")" 2>/dev/null &&
        echo "$root: healthy" && break
      sleep 1
    done
    inside python -c "import urllib.request as u; u.urlopen(\"http://127.0.0.1:18080/viewer\")"
    echo "the viewer answers"' # and with this process all others of its namespace end
  buildah rm "$container" >/dev/null
done
