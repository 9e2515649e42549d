"""A pipeline whose tasks add spans of their own."""

from opentelemetry import trace

from podium import task, workflow

tracer = trace.get_tracer("example")


@task
def load() -> int:
    with tracer.start_as_current_span("read the source") as span:
        span.set_attribute("example.rows", 3)
        with tracer.start_as_current_span("parse"):
            return 3


@task(retries=1, delay=0.05)
def flaky(rows: int) -> int:
    import os

    if os.environ["PODIUM_ATTEMPT"] == "1":
        raise RuntimeError("the first try breaks")
    return rows + 1


@workflow
def traced() -> None:
    flaky(load())
