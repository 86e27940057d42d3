"""What Schemathesis loads: strings of our formats are mostly such that the service takes them.

Without it hardly a made-up request would get past decoding: no random bytes are a picture, no random UUID is
in the gallery. And one check is told what forms are.
"""

import base64
import json

import numpy as np
import schemathesis
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection

from tests.fuzzing.pictures import ASCII_PICTURES, PICTURES, ids, ids_at_first

DIMENSION = 64


def _vector(seed: int) -> str:
    numbers = np.random.default_rng(seed).standard_normal(DIMENSION)
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode()


# text: Schemathesis now and then holds what it made against the schema, and stops at bytes with an error
schemathesis.openapi.format("binary", st.sampled_from([data.decode("ascii") for data in ASCII_PICTURES]))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(data).decode() for data in PICTURES]))
schemathesis.openapi.format("embedding", st.integers(0, 2**32).map(_vector))
schemathesis.openapi.format(
    "uuid", (st.sampled_from(ids_at_first()) | st.sampled_from(ids()) | st.uuids()).map(str)
)
schemathesis.openapi.format(
    "json-object", st.dictionaries(st.sampled_from(["year", "place"]), st.integers(0, 3)).map(json.dumps)
)


@schemathesis.check
def what_the_document_does_not_allow_is_refused(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """Do as negative_data_rejection, but not of forms.

    Schemathesis takes for wrong there what is right: all that a form says is text, so an object in a caption
    is a caption, and a field that is empty was not filled in.
    """
    if case.media_type == "multipart/form-data":
        return None
    return negative_data_rejection(context, response, case)
