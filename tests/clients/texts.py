"""OpenAI's client for embeddings, and texts from tritonclient: the same vectors by each."""

import argparse

import numpy as np
import openai
import tritonclient.http as triton

TEXTS = ["a torch", "a sconce holds a torch", "日本"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", required=True)
    parser.add_argument("--management")
    address = parser.parse_args().http
    client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="none")
    answer = client.embeddings.create(model="encoder", input=TEXTS)
    packed = np.array([row.embedding for row in answer.data], np.float32)
    assert packed.shape == (3, 16) and [row.index for row in answer.data] == [0, 1, 2], packed.shape
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 9, answer.usage
    plain = client.embeddings.create(model="encoder", input=TEXTS, encoding_format="float")
    assert np.array_equal(packed, np.array([row.embedding for row in plain.data], np.float32))
    one = client.embeddings.create(model="encoder", input=TEXTS[1], dimensions=16)
    assert np.allclose(one.data[0].embedding, packed[1], atol=1e-6)
    for wrong, model, kind in ((TEXTS, "nobody", openai.NotFoundError), ([], "encoder", openai.BadRequestError)):
        try:
            client.with_options(max_retries=0).embeddings.create(model=model, input=wrong)
        except kind as error:
            assert error.code and error.body["message"], error
        else:
            raise AssertionError(f"{model} took {wrong}")

    server = triton.InferenceServerClient(address)
    for shape, texts in (([3], TEXTS), ([3, 1], [[text] for text in TEXTS])):
        for binary in (True, False):
            column = triton.InferInput("text", shape, "BYTES")
            column.set_data_from_numpy(np.array(texts, dtype=np.object_), binary_data=binary)
            vectors = server.infer("encoder", [column]).as_numpy("embedding")
            assert np.array_equal(vectors, packed), (shape, binary)
    [asked] = server.get_model_metadata("encoder")["inputs"]
    assert asked["name"] == "text" and asked["datatype"] == "BYTES", asked
    print("openai and tritonclient get the same vectors of texts")


if __name__ == "__main__":
    main()
