#!/bin/bash
# Starts one role of one test case of the QUIC interop runner. Its exit code is the endpoint's: 127 for an unknown case.

# Routes through the simulated network; the script comes with the base image.
/setup.sh

if [ "$ROLE" == "client" ]; then
    # The simulator opens this port once the server answers.
    /wait-for-it.sh sim:57832 -s -t 30
fi

exec /usr/local/bin/mpquic-interop-endpoint
