# The service. CPU by default; for an NVIDIA card: docker build --build-arg TORCH_BACKEND=cu130 .
FROM python:3.13-slim

# which build of PyTorch: cpu, cu126, cu130, … (the names of uv's --torch-backend)
ARG TORCH_BACKEND=cpu

RUN useradd --create-home --uid 10001 app \
    && mkdir -p /data /models \
    && chown app:app /data /models
RUN pip install --no-cache-dir uv
WORKDIR /srv

# what changes seldom comes first: the dependencies alone, then the program
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN uv pip install --system --no-cache --torch-backend=${TORCH_BACKEND} -c constraints.txt -r pyproject.toml --extra openvino
COPY app app
COPY db db
COPY embedding embedding
COPY migrations migrations
COPY training training
RUN uv pip install --system --no-cache --no-deps .

ENV IMAGE_RETRIEVAL_DATA_DIR=/data \
    IMAGE_RETRIEVAL_HOST=0.0.0.0 \
    HF_HOME=/models
USER app
VOLUME ["/data", "/models"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
# migrating is safe to repeat, and to do from several containers at once
CMD ["sh", "-c", "image-retrieval migrate && exec image-retrieval serve"]
