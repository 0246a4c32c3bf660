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
  buildah bud -q --target "$target" -t "localhost/lumbar:$target" \
    -f "$repository/deploy/Dockerfile" --ignorefile "$repository/deploy/Dockerfile.dockerignore" \
    --build-arg DEBIAN=localhost/debian:bookworm \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro \
    --volume "$folder/pip.conf:/etc/pip.conf:ro" "$repository"
done
buildah images
