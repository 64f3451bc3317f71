"""`python -m bench`: what the controller costs, each figure beside a floor measured in the same run.

`stack` starts an API server, an OVN NB database and the controller under test as processes of their own; `generate`
makes synthetic clusters by seed; `floor` is what the bare API server and the bare ovsdb-server allow; the scenarios
(`burst`, `restart`, `change`, `committer`) measure; `report` prints the table and writes `build/bench.json`.
Nothing here looks into the controller: it is watched through /proc, its database, its API server and its /metrics, so
that `--controller-command` measures another controller with the same driver.
"""
