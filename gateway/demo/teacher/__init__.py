"""A simulated teacher, labelled as such on every answer, for the demo, load tests and tests.

`python -m gateway.demo.teacher --port 0 --pairs FILE.jsonl` prints `{"port": N}` once it
listens. It answers chat completions from recorded pairs, and does what its script of faults says
(`faults.Fault`). Verbs for whoever drives it, below `/__teacher/`; each answers with its counters:

PUT pairs      replaces the pairs: JSON lines of {"messages": [...], "answer": "..."}
PUT latency    a JSON number: milliseconds before each answer's head
POST faults    appends a JSON list of Fault, one a request; DELETE faults forgets the unused
GET seen       {"requests", "cancelled", "pairs", "latest": [Seen, ...]}; DELETE seen forgets them
"""
