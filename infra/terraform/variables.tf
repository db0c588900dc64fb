variable "name" {
  description = "What everything is called, and begins with."
  type        = string
  default     = "flightdeck"
}

variable "region" {
  description = "Where everything is."
  type        = string
}

variable "network" {
  description = "Addresses of the private network; a quarter of it for each of three zones."
  type        = string
  default     = "10.0.0.0/16"
}

variable "administrators" {
  description = "Addresses (CIDR) from which people may reach the cluster's API; none: only from the private network."
  type        = list(string)
  default     = []
  validation {
    condition     = !contains(var.administrators, "0.0.0.0/0")
    error_message = "The cluster's API is not open to everybody: name the addresses of your own."
  }
}

variable "kubernetes" {
  description = "The cluster's version; the manifests are checked for it."
  type        = string
  default     = "1.35"
}

variable "nodes" {
  description = "What the nodes are, and how many: the tasks' pods come and go with them."
  type        = object({ type = string, least = number, most = number })
  default     = { type = "m7i.xlarge", least = 3, most = 10 }
}

variable "database" {
  description = "The database server's size, in GB and by class."
  type        = object({ class = string, storage = number, most_storage = number })
  default     = { class = "db.m7g.large", storage = 100, most_storage = 1000 }
}
