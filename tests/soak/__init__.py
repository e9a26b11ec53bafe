"""Nothing grows and nothing breaks, whatever goes on at the same time.

    python -m tests.soak --minutes 10

A gunicorn gthread and a waitress serve one site over one Redis, which fails over to its
replica and is restarted. Clients of the kill test resume and count every message.
Beside them there are echoes, floods, readers that are too slow, and clients that come
and go in every way. The soak prints memory, descriptors and threads of each server by
the minute. It exits with 1 where a message was lost, an echo was wrong, a log has a
traceback, or a figure went on growing.
"""
