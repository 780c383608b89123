"""What clients of boto3 can share: tests make thousands, and each would read its service's model anew."""

from __future__ import annotations

from typing import Any

import botocore.loaders
import botocore.regions
import botocore.session
from botocore.client import ClientCreator
from botocore.errorfactory import ClientExceptionsFactory
from botocore.hooks import EventAliaser

MODELS = botocore.loaders.create_loader()


def keep_what_they_share() -> None:
    """Read and make once what each session and client makes anew: models, classes, rules for endpoints.

    Four fifths of what a client costs. Each still has its own credentials, hooks and connections.
    """
    classes: dict[str, type] = {}
    providers: dict[int, tuple[Any, Any]] = {}
    models: dict[str, Any] = {}
    names: dict[str, str] = {}
    read, errors = ClientCreator._load_service_model, ClientExceptionsFactory()
    make, provider = ClientCreator._create_client_class, botocore.regions.EndpointProvider
    aliaser = EventAliaser.__init__

    def client_class(creator: Any, name: str, model: Any) -> type:
        if name not in classes:
            classes[name] = make(creator, name, model)
        return classes[name]

    def service_model(creator: Any, name: str, api_version: Any = None) -> Any:
        if name not in models:
            models[name] = read(creator, name, api_version)
        return models[name]

    def endpoint_provider(ruleset_data: Any, **more: Any) -> Any:
        key = id(ruleset_data)  # of one service; kept, so that no other gets its number
        if key not in providers:
            providers[key] = (ruleset_data, provider(ruleset_data=ruleset_data, **more))
        return providers[key][1]

    def event_aliaser(self: Any, *arguments: Any) -> None:
        aliaser(self, *arguments)
        self._alias_name_cache = names  # what an event is called is the same for all

    botocore.session.create_loader = lambda *_: MODELS  # type: ignore[assignment]
    EventAliaser.__init__ = event_aliaser
    ClientCreator._create_client_class = client_class
    ClientCreator._load_service_model = service_model
    botocore.session.ClientExceptionsFactory = lambda: errors
    botocore.regions.EndpointProvider = endpoint_provider
