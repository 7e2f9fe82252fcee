"""tritonclient against the server, in a process of its own: triton.py <http port> <grpc port> <model>. Prints "ok" last.

The same request through every form of the protocol; all must give the scores of the first."""

import sys

import numpy as np
import tritonclient.http as http

HTTP, GRPC, MODEL = f"127.0.0.1:{sys.argv[1]}", f"127.0.0.1:{sys.argv[2]}", sys.argv[3]
IDS, PRICES = ["i1", "i2", "stranger \u00e9", "i3"], [1.5, float("nan"), 2.0, -0.5]


def inputs(kind, **set_data):
    def one(name, values, datatype, dtype):
        array = np.array(values, dtype=dtype)
        tensor = kind.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **set_data)
        return tensor
    return [one("user_id", [b"u1"], "BYTES", np.object_), one("query", ["red shoes".encode()], "BYTES", np.object_),
            one("context", [b'{"device":"ios","ts_ms":1704103200000}'], "BYTES", np.object_),
            one("item_ids", [i.encode() for i in IDS], "BYTES", np.object_), one("feature.price", PRICES, "FP32", np.float32)]


def check(result, want=None, request_id=None, is_http=True):
    scores, order = result.as_numpy("scores"), result.as_numpy("order")
    assert scores.dtype == np.float32 and order.dtype == np.int32, (scores.dtype, order.dtype)
    assert scores.shape == order.shape == (len(IDS),), (scores.shape, order.shape)
    assert sorted(order) == list(range(len(IDS))) and all(np.diff(scores[order]) <= 0), (scores, order)
    if want is not None:
        assert np.array_equal(scores, want), (scores, want)
    if request_id is not None:
        got = result.get_response()["id"] if is_http else result.get_response().id
        assert got == request_id, got
    return scores


client = http.InferenceServerClient(HTTP)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
assert client.is_model_ready(MODEL, "1") and not client.is_model_ready("nobody")
assert client.get_server_metadata()["name"] == "uniscale"
metadata = client.get_model_metadata(MODEL)
assert metadata["name"] == MODEL and metadata["versions"] == ["1"], metadata
assert {"name": "item_ids", "datatype": "BYTES", "shape": [-1]} in metadata["inputs"], metadata
assert client.get_model_repository_index()[0]["name"] == MODEL

scores = check(client.infer(MODEL, inputs(http), request_id="r1"), request_id="r1")
check(client.infer(MODEL, inputs(http), model_version="1"), scores)
for encoding in ("gzip", "deflate"):
    check(client.infer(MODEL, inputs(http), request_compression_algorithm=encoding), scores)
    check(client.infer(MODEL, inputs(http), response_compression_algorithm=encoding), scores)
    check(client.infer(MODEL, inputs(http), request_compression_algorithm=encoding, response_compression_algorithm=encoding), scores)
json_inputs = inputs(http, binary_data=False)[:4]
finite = inputs(http)[4]
for binary in (False, True):
    outputs = [http.InferRequestedOutput("order", binary_data=binary), http.InferRequestedOutput("scores", binary_data=not binary)]
    check(client.infer(MODEL, json_inputs + [finite], outputs=outputs), scores)
try:
    client.infer("nobody", inputs(http))
    raise AssertionError("an unknown model was served")
except http.InferenceServerException as error:
    assert "no model" in str(error), error
client.close()

if sys.argv[2] != "0":
    import tritonclient.grpc as grpc
    client = grpc.InferenceServerClient(GRPC)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata().name == "uniscale"
    metadata = client.get_model_metadata(MODEL)
    assert metadata.name == MODEL and list(metadata.versions) == ["1"], metadata
    check(client.infer(MODEL, inputs(grpc), request_id="g1"), scores, "g1", is_http=False)
    outputs = [grpc.InferRequestedOutput("scores"), grpc.InferRequestedOutput("order")]
    check(client.infer(MODEL, inputs(grpc), outputs=outputs, compression_algorithm="gzip"), scores)
    for model, want in (("nobody", "NOT_FOUND"), ("../main", "NOT_FOUND")):
        try:
            client.infer(model, inputs(grpc))
            raise AssertionError("an unknown model was served")
        except grpc.InferenceServerException as error:
            assert want in str(error.status()), error.status()
    try:
        client.infer(MODEL, inputs(grpc)[:3])
        raise AssertionError("a request without items was served")
    except grpc.InferenceServerException as error:
        assert "INVALID_ARGUMENT" in str(error.status()) and "item_ids" in error.message(), error
    client.close()
print("ok")
