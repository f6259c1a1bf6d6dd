# mmsimclr in a container. Not built yet: no Docker was at hand.
#   docker build --target cpu -t mmsimclr:cpu .      torch without CUDA, from CPU_INDEX
#   docker build --target cuda -t mmsimclr .         the pinned torch, with its CUDA libraries
#   docker run --rm -v "$PWD:/work" mmsimclr:cpu explore photos --minutes 10
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" mmsimclr train NAME_OF_A_CONFIG data_root=photos
# For a build that can be repeated, give PYTHON_IMAGE with its digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
RUN useradd --create-home user && mkdir /work && chown user /work
COPY . /opt/mmsimclr
ENV VENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1
WORKDIR /opt/mmsimclr

FROM base AS cpu
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN tools/install.sh core --cpu "$CPU_INDEX"
USER user
WORKDIR /work
ENTRYPOINT ["mmsimclr"]

FROM base AS cuda
RUN tools/install.sh core
USER user
WORKDIR /work
ENTRYPOINT ["mmsimclr"]
