"""Bashoutter, the web service of chapter 5: a place where anybody may leave a haiku.

    functions/haiku.py   what runs on AWS Lambda, one handler per kind of request
    openapi.yaml         the API: a description for people, and what Amazon API Gateway is filled from
    page/                what a visitor's browser loads from Amazon S3

Nothing here is imported by the rest of the package. `awslabs.serverless` packs `functions/`, fills in what
stands between double underscores (``__LIST_ARN__`` and its like in the API, ``__API_URL__`` in the page),
and sends all three to AWS.
"""
