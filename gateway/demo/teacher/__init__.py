"""A simulated teacher, labeled as such on every answer, for the demo, load tests and tests.

`python -m gateway.demo.teacher --port 0 --pairs FILE.jsonl` prints `{"port": N}` once it
listens. It answers chat completions from recorded pairs and follows a script of faults
(`faults.Fault`). Control requests go to `/__teacher/`; each is answered with the counters:

PUT pairs      replaces the pairs: JSON lines of {"messages": [...], "answer": "..."}
PUT latency    sets the milliseconds before the head of each answer, a JSON number
POST faults    appends a JSON list of Fault, one per request; DELETE faults drops the unused
GET seen       {"requests", "cancelled", "pairs", "latest": [SeenRequest, ...],
               "left": {`user` of a request: when it lost its client, in monotonic seconds}};
               DELETE seen drops them
"""
