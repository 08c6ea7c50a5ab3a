#!/usr/bin/env bash
# Brings the balancer of compose.prod.yaml to this host, or a newer one in the place of an older.
#
#   EQUIPOISE_IMAGE=equipoise:1.2 CONFIG=/etc/equipoise ./deploy.sh    get the image, check, replace, wait until ready
#   CONFIG=/etc/equipoise ./deploy.sh reload                           take up a changed configuration; cuts nothing
#
# The configuration is checked by the new image before the running balancer is touched. A new one that does not get ready
# within READY_TIMEOUT seconds (60) makes way for the image that ran before, and the exit code is 1.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "deploy: $*"; }
fail() { echo "deploy: $*" >&2; exit 1; }
compose() { docker compose --file compose.prod.yaml "$@"; }

export EQUIPOISE_IMAGE="${EQUIPOISE_IMAGE:-equipoise:latest}"
export CONFIG="${CONFIG:-./deploy/compose/production}"
ready_timeout="${READY_TIMEOUT:-60}"

# In a container as the real one will be, but for its ports and its name.
check() {
    compose run --rm --no-deps --no-TTY balancer check || fail "$CONFIG/equipoise.toml is not good; nothing was changed"
}

replace() {
    compose up --detach --no-deps --no-build --wait --wait-timeout "$ready_timeout" balancer
}

# The image by its content: its tag may be the new one's by now.
running_image() {
    local container
    container="$(compose ps --quiet balancer)"
    [ -z "$container" ] || docker inspect --format '{{.Image}}' "$container"
}

deploy() {
    local before
    before="$(running_image)"
    # One that was built here is in no registry.
    compose pull --quiet balancer || docker image inspect "$EQUIPOISE_IMAGE" >/dev/null \
        || fail "there is no image $EQUIPOISE_IMAGE"
    check
    if replace; then
        say "$EQUIPOISE_IMAGE takes requests"
        return
    fi
    compose logs --tail 20 balancer >&2 || true
    [ -n "$before" ] || fail "$EQUIPOISE_IMAGE does not get ready, and there was none before it"
    say "$EQUIPOISE_IMAGE does not get ready; going back to $before" >&2
    EQUIPOISE_IMAGE="$before" replace || fail "$before does not get ready either"
    fail "$before is back; nothing was deployed"
}

reload() {
    check
    # It answers when every worker acts on it, or says why not.
    compose exec --no-TTY balancer equipoise reload
}

case "${1:-deploy}" in
    deploy | reload) "${1:-deploy}" ;;
    *) echo "usage: deploy.sh [deploy|reload]" >&2; exit 2 ;;
esac
