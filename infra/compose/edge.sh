# The load balancer, or, with arguments, an exporter of the same image. Secrets come from files, and stay out of the compose file.
set -eu
if [ "$#" -gt 0 ]; then exec "$@"; fi
TOKEN=$(cat /state/secrets/token)
export TOKEN
exec haproxy -W -db -f /etc/edge/haproxy.cfg
