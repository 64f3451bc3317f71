"""The kubelet stand-in: pods become network namespaces by the real CNI plug-in, with processes or small servers."""
