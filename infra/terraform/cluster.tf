# The cluster, and who may do what in the cloud: nodes pull images, the shared files' driver mounts them, and three accounts of pods reach the bucket.
locals {
  # whose pods read and write the bucket: overlays/cloud of infra/kubernetes
  objects = ["task", "mlflow", "commands"]
  managed = {
    cluster = ["AmazonEKSClusterPolicy"]
    nodes   = ["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"]
  }
  services = { cluster = "eks.amazonaws.com", nodes = "ec2.amazonaws.com" }
}

data "aws_iam_policy_document" "service" {
  for_each = local.services
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
  }
}

resource "aws_iam_role" "service" {
  for_each           = local.services
  name_prefix        = "${var.name}-${each.key}-"
  assume_role_policy = data.aws_iam_policy_document.service[each.key].json
}

resource "aws_iam_role_policy_attachment" "service" {
  for_each   = merge([for role, policies in local.managed : { for policy in policies : "${role}/${policy}" => { role = role, policy = policy } }]...)
  role       = aws_iam_role.service[each.value.role].name
  policy_arn = "arn:aws:iam::aws:policy/${each.value.policy}"
}

resource "aws_eks_cluster" "this" {
  name                      = var.name
  version                   = var.kubernetes
  role_arn                  = aws_iam_role.service["cluster"].arn
  enabled_cluster_log_types = ["api", "audit", "authenticator"]
  vpc_config {
    subnet_ids              = [for subnet in aws_subnet.private : subnet.id]
    endpoint_private_access = true
    endpoint_public_access  = length(var.administrators) > 0
    public_access_cidrs     = length(var.administrators) > 0 ? var.administrators : null
  }
  access_config {
    authentication_mode = "API"
  }
  # the Secrets of the namespace are encrypted with the key of this account
  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = aws_kms_key.this.arn
    }
  }
  depends_on = [aws_iam_role_policy_attachment.service]
}

resource "aws_eks_node_group" "this" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = var.name
  node_role_arn   = aws_iam_role.service["nodes"].arn
  subnet_ids      = [for subnet in aws_subnet.private : subnet.id]
  instance_types  = [var.nodes.type]
  scaling_config {
    min_size     = var.nodes.least
    max_size     = var.nodes.most
    desired_size = var.nodes.least
  }
  lifecycle {
    # the autoscaler's own
    ignore_changes = [scaling_config[0].desired_size]
  }
  depends_on = [aws_iam_role_policy_attachment.service]
}

# the network enforces NetworkPolicies only when it is told to
resource "aws_eks_addon" "this" {
  for_each = {
    vpc-cni                = jsonencode({ enableNetworkPolicy = "true" })
    coredns                = null
    kube-proxy             = null
    metrics-server         = null
    eks-pod-identity-agent = null
    aws-ebs-csi-driver     = null
    aws-efs-csi-driver     = null
  }
  cluster_name         = aws_eks_cluster.this.name
  addon_name           = each.key
  configuration_values = each.value
  dynamic "pod_identity_association" {
    for_each = contains(keys(local.drivers), each.key) ? [local.drivers[each.key]] : []
    content {
      service_account = pod_identity_association.value.account
      role_arn        = aws_iam_role.pods[pod_identity_association.value.role].arn
    }
  }
  depends_on = [aws_eks_node_group.this]
}

locals {
  drivers = {
    aws-ebs-csi-driver = { account = "ebs-csi-controller-sa", role = "ebs" }
    aws-efs-csi-driver = { account = "efs-csi-controller-sa", role = "efs" }
  }
}

data "aws_iam_policy_document" "pods" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "pods" {
  for_each           = toset(["objects", "ebs", "efs"])
  name_prefix        = "${var.name}-${each.key}-"
  assume_role_policy = data.aws_iam_policy_document.pods.json
}

resource "aws_iam_role_policy_attachment" "drivers" {
  for_each   = { ebs = "AmazonEBSCSIDriverPolicy", efs = "AmazonEFSCSIDriverPolicy" }
  role       = aws_iam_role.pods[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/${each.value}"
}

data "aws_iam_policy_document" "objects" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.this.arn]
  }
  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }
  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this.arn]
  }
}

resource "aws_iam_role_policy" "objects" {
  name_prefix = "objects-"
  role        = aws_iam_role.pods["objects"].name
  policy      = data.aws_iam_policy_document.objects.json
}

resource "aws_eks_pod_identity_association" "objects" {
  for_each        = toset(local.objects)
  cluster_name    = aws_eks_cluster.this.name
  namespace       = var.name
  service_account = each.key
  role_arn        = aws_iam_role.pods["objects"].arn
}
