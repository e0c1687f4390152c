#!/bin/sh
# Serves a folder of versions in a container: deploy/serve.sh artifacts/photos
set -eu
versions=$(cd "${1:?usage: deploy/serve.sh FOLDER_OF_VERSIONS}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
exec docker run --rm --init \
  --publish 127.0.0.1:8500:8500 --publish 127.0.0.1:8501:8501 \
  --read-only --cap-drop ALL --security-opt no-new-privileges \
  --memory 4g --cpus 4 \
  --volume "$versions:/models/photos:ro" \
  --volume "$here:/config:ro" \
  --entrypoint tensorflow_model_server \
  "${IMAGE:-tensorflow/serving:2.21.0}" \
  --port=8500 --rest_api_port=8501 \
  --model_config_file=/config/models.config \
  --model_config_file_poll_wait_seconds=30 \
  --allow_version_labels_for_unavailable_models=true \
  --monitoring_config_file=/config/monitoring.config \
  --file_system_poll_wait_seconds=10 \
  ${FLAGS:-}
