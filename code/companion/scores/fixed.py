"""What is the same in every judgement. Here without torch, which loads for longer than a table of scores is written."""

# ASSUME: in units of mean ||y||^2. On MNIST the divergence of 2,000 images puts real before blurred ones at 0.5, and
# after them, as W2 does, at 0.2 and below; at 1 it hardly tells them apart.
DIVERGENCE_LAM = 0.5
CONTROLS = ("real", "blurred", "mean image", "half of the classes", "copies")
