"""KServe's client against the server, in a process of its own: kserve_client.py <http port> <grpc port> <model>."""

import asyncio
import sys

import numpy as np
from kserve import InferInput, InferRequest, InferenceGRPCClient, InferenceRESTClient, RESTConfig

HTTP, GRPC, MODEL = f"http://127.0.0.1:{sys.argv[1]}", f"127.0.0.1:{sys.argv[2]}", sys.argv[3]
IDS = ["i1", "i2", "i3"]


def request(binary):
    ids = InferInput(name="item_ids", shape=[len(IDS)], datatype="BYTES")
    ids.set_data_from_numpy(np.array([i.encode() for i in IDS], dtype=np.object_), binary_data=binary)
    price = InferInput(name="feature.price", shape=[len(IDS)], datatype="FP32")
    price.set_data_from_numpy(np.array([1.5, 0.5, 2.0], dtype=np.float32), binary_data=binary)
    return InferRequest(model_name=MODEL, infer_inputs=[ids, price], request_id="k1")


def check(response, want=None):
    outputs = {output.name: output.as_numpy() for output in response.outputs}
    scores = np.array(outputs["scores"], dtype=np.float32)
    assert response.id == "k1", response.id
    assert scores.shape == (len(IDS),) and sorted(outputs["order"]) == [0, 1, 2], outputs
    if want is not None:
        assert np.allclose(scores, want, atol=1e-6), (scores, want)
    return scores


async def main():
    rest = InferenceRESTClient(RESTConfig(protocol="v2", verbose=False))
    assert await rest.is_server_live(HTTP) is True
    assert await rest.is_server_ready(HTTP) is True
    assert await rest.is_model_ready(HTTP, MODEL) is True
    scores = check(await rest.infer(HTTP, request(binary=False), model_name=MODEL))
    check(await rest.infer(HTTP, request(binary=True), model_name=MODEL), scores)
    if sys.argv[2] != "0":
        grpc = InferenceGRPCClient(url=GRPC)
        assert await grpc.is_server_live() and await grpc.is_server_ready() and await grpc.is_model_ready(MODEL)
        check(await grpc.infer(request(binary=False)), scores)
        check(await grpc.infer(request(binary=True)), scores)
    print("ok")


asyncio.run(main())
