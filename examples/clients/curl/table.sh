#!/bin/sh
# Ask about the sample table of customer reviews, with nothing but curl.
#   SALLYPORT_URL=http://127.0.0.1:8080 SALLYPORT_TOKEN=… ./table.sh ["question"]
set -eu
: "${SALLYPORT_URL:=http://127.0.0.1:8080}"
: "${SALLYPORT_TOKEN:?set it to a token, such as the content of sallyport-data/admin-token}"
question=$(printf '%s' "${1:-What is the average stars by country?}" | sed 's/\\/\\\\/g; s/"/\\"/g')

curl --silent --show-error --fail-with-body --no-buffer \
  "$SALLYPORT_URL/ai-gateway/mlflow/v1/responses" \
  -H "Authorization: Bearer $SALLYPORT_TOKEN" \
  -H "Content-Type: application/json" \
  -d @- <<JSON
{
  "model": "${SALLYPORT_MODEL:-databricks-demo}",
  "input": "$question",
  "tools": [{"type": "table", "table": {"name": "main.sales.reviews"}}],
  "stream": ${SALLYPORT_STREAM:-false}
}
JSON
