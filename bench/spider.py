"""Scrapy's FilesPipeline on the URLs of a race: `scrapy runspider bench/spider.py` in a folder with urls.txt and spider.json.

Runs in Scrapy's own environment, so it imports nothing of this project.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import scrapy

GIVEN: dict[str, Any] = json.loads(Path("spider.json").read_text())


class Images(scrapy.Spider):
    name = "images"
    custom_settings: ClassVar[dict[str, Any]] = {
        "ITEM_PIPELINES": {"scrapy.pipelines.files.FilesPipeline": 1},
        "FILES_STORE": GIVEN["root"],
        "CONCURRENT_REQUESTS": GIVEN["connections"],
        "CONCURRENT_REQUESTS_PER_DOMAIN": GIVEN["connections"],
        "CONCURRENT_ITEMS": 2000,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_SLOTS": GIVEN["slots"],
        "DOWNLOAD_TIMEOUT": GIVEN["patience_s"],
        "RETRY_TIMES": GIVEN["retries"],
        "ROBOTSTXT_OBEY": False,
        "LOG_LEVEL": "ERROR",
        "TELNETCONSOLE_ENABLED": False,
        "JOBDIR": "scrapy-job",
    }

    async def start(self) -> AsyncIterator[Any]:
        with Path("urls.txt").open() as urls:
            for url in urls:
                yield {"file_urls": [url.strip()]}
