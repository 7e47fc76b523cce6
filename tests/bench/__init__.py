"""The bench: how fast, how big and how steady the service is, next to the peer and to what its parts can do at best.

::

    __main__ ──▶ accepting  F1 F2        wrk ──▶ API | peer | echo
             ├─▶ sending    F3 F4 F12    queue ──▶ worker | peer | bare loop ──▶ smtp-sink
             ├─▶ latency    F5           POST ──▶ whole stack ──▶ a relay with a clock
             ├─▶ resting    F6 F7        `email-service up` and the peer with Flower, doing nothing
             ├─▶ growth     F8 F9 F11    1,000 and 1,000,000 emails queued
             ├─▶ blocking   F10          a large attachment and a light request beside it
             └─▶ soak       --soak       half of capacity, memory over time

Each figure is measured in rounds, ours and the other turn by turn, so that what else the machine does meets both alike. A ratio
is made round by round; shown are its smallest, median and largest value, and the median is what counts.

This package is what ``make bench`` runs; nothing in the test suite is timed.
"""
