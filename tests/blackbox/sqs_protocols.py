"""SQS clients of both protocols: the stock one, and one that speaks the older query protocol.

botocore has forgotten the query protocol of SQS but not query protocols: its own model of the service, with the parameter
names that `models/sqs/patch.toml` keeps, makes such a client.
"""

import gzip
import json
import pathlib
import tomllib

import botocore.config
import botocore.loaders
import botocore.session

from harness import REGION, ROOT

PROTOCOLS = ["json", "query"]


def query_model() -> dict:
    loader = botocore.loaders.create_loader()
    model = json.loads(json.dumps(loader.load_service_model("sqs", "service-2")))
    patch = tomllib.loads((ROOT / "models/sqs/patch.toml").read_text())
    metadata = model["metadata"]
    metadata["protocol"], metadata["protocols"] = "query", ["query"]
    for name in ("jsonVersion", "targetPrefix", "awsQueryCompatible", "auth"):
        metadata.pop(name, None)
    metadata["xmlNamespace"] = patch["xml_namespace"]
    shapes = model["shapes"]
    for place, wire in patch["form_names"].items():
        shape, member = place.split(".")
        shapes[shape]["members"][member]["locationName"] = wire
    for name, shape in shapes.items():
        if shape["type"] in ("list", "map"):
            shape["flattened"] = True
        names = patch["shapes"].get(name, {}).get("entry_names")
        if names:
            shape["key"]["locationName"], shape["value"]["locationName"] = names
    for name, operation in model["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    return model


def client(server, protocol: str, folder: pathlib.Path, **options):
    """A client of this protocol; what the query one needs is written below `folder`."""
    if protocol == "json":
        return server.client("sqs", **options)
    model = folder / "sqs" / "2012-11-05"
    if not model.is_dir():
        model.mkdir(parents=True)
        (model / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(query_model()).encode()))
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.insert(0, str(folder))
    made = session.create_client(
        "sqs",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=options.get("key", "test"),
        aws_secret_access_key="test",
        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=90),
    )
    assert made.meta.service_model.protocol == "query"
    return made
