# SPDX-License-Identifier: Apache-2.0
"""Kafka and Dubbo, told from each other and from what they are not (see protocols_test.py)."""

import jvm
import matrix
from lib import foreign, main

CONVERSATIONS = [
    (6379, "Kafka", jvm.kafka),
    (33060, "Dubbo", jvm.dubbo),
]


def kafka_and_dubbo_are_told_for_what_they_are(bench):
    foreign("java")
    for name in ("kafka", "dubbo"):  # before anything runs: downloads, or skips
        jvm.class_path(bench, name)
    matrix.ADDRESSES.add(jvm.DUBBO_ADDRESS)
    matrix.measure(bench, CONVERSATIONS)


main(kafka_and_dubbo_are_told_for_what_they_are)
