"""Nothing is lost and nothing comes twice, however often brokers and workers die.

    python -m tests.kill --minutes 5 --broker redis --clients 3000 --processes 3

Several gunicorn servers on ports of their own serve clients that speak the protocol of
``dwebsocket.js``. A program outside of them sends numbered messages to groups that keep
a history. At random the broker and one of the servers are killed with SIGKILL and
started again, and clients are cut off. In the end every client must have got every
number of its groups once and in order; it says which it has not, and exits with 1.
"""
