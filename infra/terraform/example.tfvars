region         = "eu-central-1"
administrators = ["192.0.2.0/24"]
