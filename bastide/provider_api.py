"""The provider's API, for whoever asks it beside Pulumi. In a module of its own: to import its client takes a while."""

from __future__ import annotations

import hcloud

from bastide.provider import Access

_POLL_SECONDS = 0.5


def provider_api(access: Access, *, seconds: float | None = None) -> hcloud.Client:
    """The provider's own client. It raises `hcloud.HCloudException`, or `requests.RequestException` without an answer.

    What takes the provider a while is looked at twice a second. `seconds`: how long to wait for one answer, else for as
    long as it takes; who got none is asked again by the client, five times.
    """
    return hcloud.Client(
        token=access.token,
        api_endpoint=access.endpoint,
        poll_interval=_POLL_SECONDS,
        timeout=seconds,
        application_name="bastide",
    )
