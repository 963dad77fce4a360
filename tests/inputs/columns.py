"""What scikit-learn makes of a table: run by the Python that has it, rows in and figures out as JSON.

The rows of `fit` teach an imputer, encoders and a scaler as a pipeline has them; what these learned goes out for a model.toml, and
what they make of the rows of `transform` beside it.
"""

import json
import sys

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

NUMBERS, WORDS, PLACES = ["age", "hours per week"], ["city"], ["size"]


def table(rows):
    names = NUMBERS + WORDS + PLACES
    cells = np.empty((len(rows), len(names)), dtype=object)
    for at, name in enumerate(names):
        column = [row.get(name) for row in rows]
        cells[:, at] = [np.nan if value is None else value for value in column]
    return cells


def main():
    given = json.load(sys.stdin)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    places = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    pipeline = ColumnTransformer([("numbers", numbers, [0, 1]), ("words", words, [2]), ("places", places, [3])])
    pipeline.fit(table(given["fit"]))
    numbers, words, places = (pipeline.named_transformers_[name] for name in ("numbers", "words", "places"))
    json.dump(
        {
            "missing": numbers[0].statistics_.astype(float).tolist(),
            "mean": numbers[1].mean_.tolist(),
            "std": numbers[1].scale_.tolist(),
            "city": words[1].categories_[0].tolist(),
            "common": words[0].statistics_[0],
            "size": places.categories_[0].tolist(),
            "rows": pipeline.transform(table(given["transform"])).astype(float).tolist(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
