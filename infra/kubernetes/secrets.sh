#!/usr/bin/env bash
# Makes all secrets and puts them into a namespace, a Secret for each kind of pod with only what that kind needs: bash infra/kubernetes/secrets.sh NAMESPACE
# For trying things. Where secrets come from a vault (External Secrets, sealed ones), it makes Secrets of these names and keys, and this is not needed.
set -euo pipefail
cd "$(dirname "$0")/../.."
namespace=${1:-flightdeck}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 077
# secrets that are there stay: the database knows them
if kubectl --namespace "$namespace" get secret secrets-platform >/dev/null 2>&1; then exit 0; fi
mkdir -p "$folder"/share/{airflow,task,mlflow,serving,reports,world,postgres,objects}
FLIGHTDECK_HOME=$folder "${PYTHON:-.venv/bin/python}" -m flightdeck.secrets "$folder/share"
for own in "$folder"/share/*; do
  kubectl --namespace "$namespace" create secret generic "secrets-${own##*/}" --from-file="$own"
done
kubectl --namespace "$namespace" create secret generic secrets-platform --from-file="$folder/secrets"
