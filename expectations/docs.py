"""Data Docs: every checkpoint's results as pages. They read all results each time: so they are built once in a while, not in every check."""

from expectations.batch import context


def build() -> None:
    context().build_data_docs()


if __name__ == "__main__":
    build()
