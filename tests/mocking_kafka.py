"""A Kafka cluster that fails as a test wants it: librdkafka's own mock brokers, over real sockets, in this process.

Its interface is that of `rdkafka_mock.h`, in C only; the library comes with the package confluent-kafka.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
import pytest
from running import STRICT

PRODUCE = 0
"""The number of that request (Kafka protocol, API keys)."""
_PRODUCER = 0


class Mock:
    """Three brokers with the topic ``egress``, of two partitions."""

    def __init__(self, library: ctypes.CDLL, cluster: ctypes.c_void_p) -> None:
        self._library, self._cluster = library, cluster
        self.brokers = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        library.rd_kafka_mock_topic_create(cluster, b"egress", 2, 3)

    def fail(self, errors: Sequence[int]) -> None:
        """Let the next produce requests come to these errors, 0 where one is to work."""
        numbers = (ctypes.c_int * len(errors))(*errors)
        args = ctypes.c_int16(PRODUCE), ctypes.c_size_t(len(errors)), numbers
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, *args)

    def lead(self, partition: int, broker: int) -> None:
        """Let another broker lead a partition."""
        self._library.rd_kafka_mock_partition_set_leader(self._cluster, b"egress", partition, broker)


@contextmanager
def mock_kafka() -> Iterator[Mock]:
    """Run the cluster."""
    found = sorted(Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka*"))
    if not found and not STRICT:
        pytest.skip("confluent-kafka comes without its librdkafka here")
    library = ctypes.CDLL(str(found[0]))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    words = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"log_level", b"0", words, ctypes.c_size_t(512))
    handle = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, conf, words, ctypes.c_size_t(512)))
    assert handle, words.value
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 3))
    try:
        yield Mock(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)
