"""The fault harness: `make prove`. It breaks the real processes in every way it knows and then counts the emails.

::

    clients ──HTTP──▶ API ──┐                                  ┌── worker ──TCP──▶ link ──▶ witness (the relay)
                            ├──▶ door (one a process) ─▶ Valkey ◀── door ──┘
                            └── kills, freezes, cuts at a named call (trap) ──┘

    points      every crash point, one after the other: before and after each kind of call and each SMTP stage
    rounds      random schedules of faults, each repeatable by its seed
    scenarios   the stories that people ask about, by name
    honesty     the product with one of its safeguards taken out: the harness must notice
    reconcile   what the clients were promised against what the relay saw and what Redis holds

A ``lane`` is one small stack with everything around it; several run side by side. This package is the proof of the promises.
"""
