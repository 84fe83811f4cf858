"""The JSON API: runs, approvals, providers. Each response is typed; `/api/openapi.json` describes them."""
